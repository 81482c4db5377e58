"""The watch: what is asked of every service each minute, and read of what it says and has recorded."""
