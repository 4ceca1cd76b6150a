"""From a problem to its ranking: one tournament per problem, and one runner that asks the judge for all of them."""
