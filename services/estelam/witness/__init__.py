"""A witness of transparency logs (C2SP tlog-witness): cosigns a checkpoint that continues all that it has cosigned."""
