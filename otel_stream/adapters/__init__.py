"""The places where other frameworks are known, one module each; none of them is needed."""
