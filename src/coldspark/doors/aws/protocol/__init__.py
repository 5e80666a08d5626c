"""What AWS's services share: wire protocols, shapes, errors, pages."""
