"""From what was seen to the figures that one reader may see, and how they compare with what was promised."""
