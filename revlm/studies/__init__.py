"""The paper's claims: from folders of runs to small records, and from these to tables, pictures and verdicts."""
