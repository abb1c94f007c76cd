"""From genome to training batches: windows, masks, length schedule, batch plans."""
