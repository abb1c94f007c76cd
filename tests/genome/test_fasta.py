"""FASTA files into genomes: what is read, what is refused, and where the store goes."""

import gzip
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome import fasta as module
from lightning_dna.genome.fasta import Genome

TEXT = ">chr1 first chromosome\nACGTacgt\nNNnnRYry\nGG\n>chr2\nTTTT\n"
SEQUENCES = {"chr1": "ACGTacgtNNnnRYryGG", "chr2": "TTTT"}
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bgzip(content: bytes, block: int = 10) -> bytes:
    """Write bgzip blocks by the SAM specification, section 4.1."""
    out = b""
    for start in range(0, len(content), block):
        piece = content[start : start + block]
        packer = zlib.compressobj(wbits=-15)
        body = packer.compress(piece) + packer.flush()
        size = len(body) + 25
        head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x06\x00BC\x02\x00" + struct.pack("<H", size)
        out += head + body + struct.pack("<II", zlib.crc32(piece), len(piece))
    return out + BGZF_END


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(tmp_path: Path, content: str | bytes, name: str = "x.fa", **settings) -> Genome:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Genome.open(path, cache_folder=tmp_path / "cache", **settings)


class TestReading:
    def test_codes_and_mask_by_hand(self, tmp_path):
        genome = opened(tmp_path, TEXT)
        assert genome.names == ("chr1", "chr2")
        assert genome.lengths == {"chr1": 18, "chr2": 4}
        expected = [0, 1, 2, 3] * 2 + [4] * 8 + [2, 2]
        assert genome.codes("chr1").tolist() == expected
        soft = [False] * 4 + [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2 + [True] * 2
        assert genome.soft_mask("chr1").tolist() == [*soft, False, False]
        assert genome.soft_masked == {"chr1": 8, "chr2": 0}
        assert genome.stored("chr1").tolist() == [
            code + 8 * bit for code, bit in zip(expected, [*soft, False, False], strict=True)
        ]

    def test_slices(self, tmp_path):
        genome = opened(tmp_path, TEXT)
        assert genome.codes("chr1", 2, 6).tolist() == [2, 3, 0, 1]
        assert genome.codes("chr1", 16).tolist() == [2, 2]
        assert genome.codes("chr2", 4, 4).shape == (0,)
        assert genome.soft_mask("chr1", 3, 5).tolist() == [False, True]
        assert genome.codes("chr1").dtype == np.uint8
        assert genome.soft_mask("chr1").dtype == np.bool_

    def test_digests_are_those_of_the_letters_in_upper_case(self, tmp_path):
        genome = opened(tmp_path, ">a\nACGT\n>b\nacgt\n>c\nacRt\n>d\nacNt\n")
        assert genome.digests["a"] == "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2"
        assert genome.digests["b"] == genome.digests["a"]
        assert genome.digests["c"] != genome.digests["d"]

    @pytest.mark.parametrize(
        ("name", "pack"),
        [
            ("x.fa", lambda text: text),
            ("x.fa.gz", gzip.compress),
            ("x.fa.bgz", bgzip),
            ("x.fa.gz", bgzip),
            ("x.fa", gzip.compress),
            ("X.FA.GZ", lambda text: text),
            ("x", lambda text: gzip.compress(text[:20]) + gzip.compress(text[20:])),
        ],
        ids=["plain", "gzip", "bgzip", "bgzip-gz", "gzip-named-fa", "plain-named-gz", "members"],
    )
    def test_packing_shows_in_the_bytes(self, tmp_path, name, pack):
        genome = opened(tmp_path, pack(TEXT.encode()), name)
        assert genome.digest == Genome.from_sequences(SEQUENCES).digest

    @pytest.mark.parametrize(
        "text",
        [
            TEXT.replace("\n", "\r\n"),
            TEXT.rstrip("\n"),
            TEXT + "\n\n\n",
            TEXT.replace(">chr2", "\n\n>chr2"),
            "; an old comment\n" + TEXT,
            ">chr1\nACGTa\ncgtNNnnRYry\nGG\n>chr2\nTTTT",
            ">chr1\nACGT\nacgtNNnnRYryGG\n>chr2\nT\nTTT\n",
            ">chr1\nACGTacgtNNnnRYry\n\nGG\n>chr2\nTT\n\nTT\n",
            ">chr1\nACGTacgtNNnnRYryGG\n>chr2\nTTTT\n",
        ],
        ids=[
            "windows", "no-last-newline", "blank-end", "blank-between", "comment", "uneven",
            "last-line-longer", "blank-inside", "one-line",
        ],
    )  # fmt: skip
    def test_line_layout_does_not_matter(self, tmp_path, text):
        genome = opened(tmp_path, text)
        assert genome.digest == Genome.from_sequences(SEQUENCES).digest
        assert (
            genome.stored("chr1").tolist()
            == Genome.from_sequences(SEQUENCES).stored("chr1").tolist()
        )

    @settings(max_examples=40, deadline=None)
    @given(
        sequence=st.text("ACGTNacgtnRy", min_size=1, max_size=120),
        width=st.integers(1, 30),
        ending=st.sampled_from(["\n", "\r\n"]),
    )
    def test_chunks_meet_wherever_lines_end(self, tmp_path_factory, sequence, width, ending):
        lines = [sequence[i : i + width] for i in range(0, len(sequence), width)]
        text = ending.join([">a", *lines, ">b", "ACGT", ""])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_CHUNK", 16)
            genome = opened(tmp_path_factory.mktemp("chunks"), text)
        assert genome.digest == Genome.from_sequences({"a": sequence, "b": "ACGT"}).digest
        assert (
            genome.stored("a").tolist()
            == Genome.from_sequences({"a": sequence}).stored("a").tolist()
        )

    def test_whole_digest_tells_names_order_letters_and_mask_apart(self):
        sequences = [
            {"a": "ACGT", "b": "GG"},
            {"b": "GG", "a": "ACGT"},
            {"a": "ACGT", "c": "GG"},
            {"a": "ACGT", "b": "GC"},
            {"a": "ACGt", "b": "GG"},
        ]
        assert len({Genome.from_sequences(each).digest for each in sequences}) == 5

    def test_repr_says_what_it_is(self):
        assert "2 chromosomes, 22 bases" in repr(Genome.from_sequences(SEQUENCES))

    def test_home_and_text_paths(self, tmp_path, monkeypatch):
        (tmp_path / "x.fa").write_text(TEXT)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert Genome.open("~/x.fa", cache_folder=str(tmp_path / "cache")).names[0] == "chr1"


class TestMaskBed:
    def test_replaces_lower_case(self, tmp_path):
        (tmp_path / "x.bed").write_text("chr1\t0\t2\nchr1\t1\t3\n2\t3\t4\n")
        genome = opened(tmp_path, TEXT, mask_bed=tmp_path / "x.bed")
        assert genome.soft_mask("chr1").tolist() == [True] * 3 + [False] * 15
        assert genome.soft_mask("chr2").tolist() == [False] * 3 + [True]
        assert genome.codes("chr1").tolist() == opened(tmp_path, TEXT).codes("chr1").tolist()
        assert genome.soft_masked == {"chr1": 3, "chr2": 1}

    def test_across_chunks(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "_CHUNK", 8)
        (tmp_path / "x.bed").write_text("chr1\t6\t17\n")
        genome = opened(tmp_path, TEXT, mask_bed=tmp_path / "x.bed")
        assert np.flatnonzero(genome.soft_mask("chr1")).tolist() == list(range(6, 17))

    def test_is_part_of_the_identity(self, tmp_path):
        (tmp_path / "x.bed").write_text("chr1\t0\t2\n")
        masked = opened(tmp_path, TEXT, mask_bed=tmp_path / "x.bed")
        plain = opened(tmp_path, TEXT)
        assert masked.digest != plain.digest
        assert masked.digests == plain.digests

    def test_change_of_the_bed_file_rebuilds(self, tmp_path):
        bed = tmp_path / "x.bed"
        bed.write_text("chr1\t0\t2\n")
        opened(tmp_path, TEXT, mask_bed=bed)
        bed.write_text("chr1\t0\t11\n")
        assert opened(tmp_path, TEXT, mask_bed=bed).soft_masked["chr1"] == 11

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("chr1\t0\t19\n", "ends beyond chromosome 'chr1' of 18 bases"),
            ("scaffold9\t0\t2\n", "no chromosome of the genome is named 'scaffold9'"),
            ("", r"repeat BED file .* is empty"),
            ("# none\n", "holds no interval"),
        ],
    )
    def test_bad_files(self, tmp_path, text, message):
        (tmp_path / "x.bed").write_text(text)
        with pytest.raises(DataError, match=message):
            opened(tmp_path, TEXT, mask_bed=tmp_path / "x.bed")

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"repeat BED file .* does not exist"):
            opened(tmp_path, TEXT, mask_bed=tmp_path / "none.bed")


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (gzip.compress(b""), "unpacks to nothing"),
            (gzip.compress(TEXT.encode() * 50)[:-20], "damaged or cut short"),
            (gzip.compress(TEXT.encode())[:6], "damaged or cut short"),
            (bgzip(TEXT.encode() * 5)[: -len(BGZF_END)], "no bgzip end marker"),
            (gzip.compress(TEXT.encode())[:-8] + bytes(8), "damaged or cut short"),
            (b"chrom,start,end\n1,2,3\n", "is not FASTA"),
            (b"@read1\nACGT\n+\nIIII\n", "is not FASTA"),
            (b"\n \n", "is not FASTA"),
            (b"ACGTACGT\n", "is not FASTA"),
            (bytes(range(256)) * 4, "is not"),
            (b">chr1\n" + bytes(range(128, 256)), "is not"),
            ((">chr1\nAC" + "é" * 5 + "GT\n").encode(), "is not"),
            (b">protein\nMKVLEEQ\n", "record 'protein': character 'L' at position 3 "),
            (b">chr1\nAC-GT\n", "record 'chr1': character '-' at position 2 "),
            (b">chr1\nAC GT\n", "record 'chr1': character ' ' at position 2 "),
            (b">chr1\nACGT\n>chr1 again\nGG\n", "record name 'chr1' stands twice"),
            (b">chr1\nACGT\n>chr2\n", "record 'chr2' has no sequence"),
            (b">chr2\n>chr1\nACGT\n", "record 'chr2' has no sequence"),
            (b">\nACGT\n", "is not FASTA"),
            (b"BZh91AY&SY" + bytes(50), "packed with bzip2"),
            (b"PK\x03\x04" + bytes(50), "packed with zip"),
        ],
    )
    def test_message_names_the_fault(self, tmp_path, cache, content, message):
        with pytest.raises(DataError, match=message) as caught:
            opened(tmp_path, content)
        assert "x.fa" in str(caught.value)
        assert not [
            path for path in cache.rglob("*") if path.name not in {"lock"} and path.is_file()
        ]

    def test_missing(self, tmp_path, cache):
        with pytest.raises(DataError, match=r"none\.fa does not exist"):
            Genome.open(tmp_path / "none.fa", cache_folder=cache)
        assert not cache.exists()

    def test_folder(self, tmp_path, cache):
        with pytest.raises(DataError, match="is not a file"):
            Genome.open(tmp_path, cache_folder=cache)

    def test_wrong_letter_beyond_the_first_chunk(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "_CHUNK", 8)
        with pytest.raises(DataError, match=r"'\*' at position 21 "):
            opened(tmp_path, ">chr1\n" + "ACGTA" * 4 + "A*\n")

    def test_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "x.fa").write_text(TEXT)
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(DataError, match=r"cannot use the genome cache .* XDG_CACHE_HOME"):
            Genome.open(tmp_path / "x.fa", cache_folder=tmp_path / "file" / "cache")

    def test_full_disk_leaves_nothing_behind(self, tmp_path, cache, monkeypatch):
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, "write_footer", full)
        with pytest.raises(DataError, match="No space left on device; free some space"):
            opened(tmp_path, TEXT)
        assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]

    def test_file_that_changes_while_it_is_read(self, tmp_path, monkeypatch):
        write_footer = module.write_footer

        def meddle(*arguments: object) -> None:
            write_footer(*arguments)
            (tmp_path / "x.fa").write_text(TEXT + ">chr3\nACGT\n")

        monkeypatch.setattr(module, "write_footer", meddle)
        with pytest.raises(DataError, match="changed while it was read"):
            opened(tmp_path, TEXT)


class TestRequests:
    genome = Genome.from_sequences(SEQUENCES)

    def test_unknown_chromosome(self):
        for method in (self.genome.codes, self.genome.soft_mask, self.genome.stored):
            with pytest.raises(ConfigError, match="unknown chromosome 'chr3'; allowed: chr1, chr2"):
                method("chr3")

    @pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 19), (19, None)])
    def test_out_of_range(self, start, end):
        for method in (self.genome.codes, self.genome.soft_mask):
            with pytest.raises(DataError, match="does not lie within chromosome 'chr1' of 18"):
                method("chr1", start, end)

    def test_stored_cannot_be_written(self, tmp_path):
        for genome in (self.genome, opened(tmp_path, TEXT)):
            with pytest.raises(ValueError, match="read-only"):
                genome.stored("chr1")[0] = 3

    def test_codes_belong_to_the_caller(self):
        codes = self.genome.codes("chr1")
        codes[:] = 0
        assert self.genome.codes("chr1", 0, 4).tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("sequences", "message"),
        [({}, "at least one sequence"), ({"a": ""}, "'a' has no bases"), ({"a": "AX"}, "'X'")],
    )
    def test_bad_sequences(self, sequences, message):
        with pytest.raises(DataError, match=message):
            Genome.from_sequences(sequences)


class TestPickling:
    def test_in_memory(self):
        genome = Genome.from_sequences(SEQUENCES)
        again = pickle.loads(pickle.dumps(genome))  # noqa: S301
        assert again.digest == genome.digest
        assert again.codes("chr1").tolist() == genome.codes("chr1").tolist()
        assert not again.stored("chr1").flags.writeable

    def test_from_a_store_carries_no_bases(self, tmp_path):
        genome = opened(tmp_path, ">chr1\n" + "ACGT" * 10_000 + "\n")
        content = pickle.dumps(genome)
        assert len(content) < 1000
        again = pickle.loads(content)  # noqa: S301
        assert again.lengths == genome.lengths
        assert np.array_equal(again.stored("chr1"), genome.stored("chr1"))

    def test_store_rebuilt_in_between(self, tmp_path):
        content = pickle.dumps(opened(tmp_path, TEXT))
        opened(tmp_path, TEXT + ">chr3\nACGT\n")
        with pytest.raises(DataError, match="removed or rebuilt"):
            pickle.loads(content)  # noqa: S301

    def test_store_removed_in_between(self, tmp_path, cache):
        content = pickle.dumps(opened(tmp_path, TEXT))
        next(cache.rglob("genome.store")).unlink()
        with pytest.raises(DataError, match="removed or rebuilt"):
            pickle.loads(content)  # noqa: S301


@pytest.mark.data
class TestRealGenomes:
    def test_yeast(self, data_folder, tmp_path):
        path = data_folder / "saccer3" / "sacCer3.softmask.fa.gz"
        genome = Genome.open(path, cache_folder=tmp_path)
        assert len(genome.names) == 17
        assert sum(genome.lengths.values()) == 12_157_105
        assert sum(genome.soft_masked.values()) / 12_157_105 == pytest.approx(0.164, abs=5e-4)
        sizes = (data_folder / "saccer3" / "sacCer3.chrom.sizes").read_text().split()
        assert genome.lengths == dict(zip(sizes[::2], map(int, sizes[1::2]), strict=True))
        with gzip.open(path, "rt") as lines:
            text = "".join(lines).split(">chrIV\n")[1].split(">")[0].replace("\n", "")
        assert genome.digests["chrIV"] == Genome.from_sequences({"x": text}).digests["x"]
        assert np.array_equal(
            genome.soft_mask("chrIV"), np.frombuffer(text.encode(), dtype=np.uint8) >= ord("a")
        )

    def test_yeast_with_a_bed_mask(self, data_folder, tmp_path):
        folder = data_folder / "saccer3"
        genome = Genome.open(
            folder / "sacCer3.softmask.fa.gz",
            mask_bed=folder / "sacCer3.Ty_LTR.derived.bed.gz",
            cache_folder=tmp_path,
        )
        assert sum(genome.soft_masked.values()) == 333_682

    def test_human_window(self, data_folder, tmp_path):
        path = data_folder / "human-windows" / "hg38.chr9_1_1000000.dna_sm.fa.gz"
        genome = Genome.open(path, cache_folder=tmp_path)
        assert genome.lengths == {"9": 1_000_000}
        assert int((genome.codes("9") == 4).sum()) == 10_000
        assert genome.soft_masked["9"] / 1_000_000 == pytest.approx(0.4625, abs=5e-5)
