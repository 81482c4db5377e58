"""The same job as most teams would write it, as well as they could."""
