"""Contract tests shipped to users: a new part inherits them and gets its promises checked."""
