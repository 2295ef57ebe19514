"""SGLang: flags, launch plans, failure causes."""
