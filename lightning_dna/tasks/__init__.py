"""Tasks: what a trained model is asked, and the per-example scores that come back."""
