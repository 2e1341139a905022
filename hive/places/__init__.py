"""Places: what a URL can address, a module for each kind.

Collection    /user                the documents of a model
Row           /user/ID             a stored document
Embedded      /team/ID/address     an embedded document, one in a list too (/team/ID/projects/X)
EmbeddedList  /team/ID/projects    a list of embedded documents
Reference     /team/ID/captain     a reference, one in a list too (/team/ID/members/X); it leads to a Row
References    /team/ID/members     a list of references
"""
