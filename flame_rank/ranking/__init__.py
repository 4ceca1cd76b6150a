"""From a problem to its ranking: one tournament a problem, and the judge that is asked for all of them."""
