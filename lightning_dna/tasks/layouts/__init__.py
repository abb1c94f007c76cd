"""The file layouts in which labelled sequences are published, each read into one kind of table."""
