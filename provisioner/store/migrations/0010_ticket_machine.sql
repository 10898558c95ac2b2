-- Each boot looks for the tickets of its machine, and for those that are long over.
CREATE INDEX ticket_machine ON ticket (machine);
CREATE INDEX ticket_expires ON ticket (expires);
