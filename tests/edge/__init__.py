"""What the tests of the edge share: tokens, certificates, and services that ask for them."""
