"""From records and judged items to statistics, a board, its page and its plot, and back: the check of a committed board."""
