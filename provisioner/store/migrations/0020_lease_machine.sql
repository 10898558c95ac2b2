-- the hardware address of record of a machine, where another port of it holds the lease (known by its UUID)
ALTER TABLE lease ADD COLUMN machine BLOB NOT NULL DEFAULT x'';
ALTER TABLE lease6 ADD COLUMN machine BLOB NOT NULL DEFAULT x'';
