"""Programs that compute attention, one file each, and the table that chooses among them."""
