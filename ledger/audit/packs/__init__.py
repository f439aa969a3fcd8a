"""Evidence packs: the events of one payer, or all, for whoever checks or moves a ledger."""
