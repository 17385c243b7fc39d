"""What is stored, and how: the seam to DBOS, the journal's records, Muster's own tables, files that machines share."""
