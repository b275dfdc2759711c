"""What the alerts would have been: models, policy and alert rule over history."""
