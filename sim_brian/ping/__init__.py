"""The E-I networks in Brian2: conductance- and current-based, in batches and scans."""
