"""What clients of the server may do with studies: create, edit and start them, within the policy of the server."""
