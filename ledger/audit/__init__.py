"""What auditors ask for and correct: voids, the tree, heads and proofs, erasure, other rules."""
