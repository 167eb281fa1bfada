"""The command line: thin verbs over the library. Heavy imports happen inside the verbs, so that --help is instant."""
