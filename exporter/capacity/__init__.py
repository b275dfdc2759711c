"""What watching costs: `check` asks whether a config can be watched, `plan` what each query would bring and need."""
