"""What AWS's doors share: which service is asked, in which protocol, and how errors are told."""
