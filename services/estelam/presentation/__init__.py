"""How pages and papers look: design tokens, font, and the formats of numbers, dates and times in each language."""
