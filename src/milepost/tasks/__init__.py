"""The only room that knows lm_eval: task names to requests, log-likelihoods to figures."""
