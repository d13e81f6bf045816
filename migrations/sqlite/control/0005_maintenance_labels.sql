-- A window may hold for the hosts that carry an admin's label.
ALTER TABLE maintenance ADD COLUMN label_name TEXT;
ALTER TABLE maintenance ADD COLUMN label_value TEXT;
