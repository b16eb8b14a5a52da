"""One HTML file that shows which theorem holds where: the ledger, the studies, the audit and an explorer, from row files."""
