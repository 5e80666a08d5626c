"""STS and IAM, the few calls that SDKs make before they do anything: query protocol.

There are no users, roles or policies here, and the answers say so: the account is the one that
every ARN names, the caller is the API key, and a role is a name that nobody can act as. What would
have to be kept, such as CreateRole, is not served.
"""
