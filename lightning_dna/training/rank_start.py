"""The first lines of each process of a training on several devices, before anything heavy.

Started with the number of a pipe, over which its order comes, and the id of the process to obey.
Importing takes seconds, in which that process may be killed.
"""

import os
import sys

from lightning_dna.training.lifeline import die_with_parent

if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    from lightning_dna.training.rank_process import main

    status = main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # threads of an unfinished exchange must not hold it up
