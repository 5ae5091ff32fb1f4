"""The same work elsewhere: what measured use would cost on other servers, committed, on spot, or on owned hardware."""
