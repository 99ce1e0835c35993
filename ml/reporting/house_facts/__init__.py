"""What an admin sees of the house: alerts, backups and checks."""
