"""From a second held to a dollar: meter, journal, ledger, price book, bill.

Parts: ``meter`` (the share of a node that each replica holds; pure), ``usage`` (what is measured),
``journal`` (durable before the reply), ``ledger`` (queried), ``ingester`` (journal to ledger),
``price_book`` and ``prices/`` (dated TOML), ``pricing`` and ``bill``.

Law: usage is integer milliseconds and bytes, money integer nano-dollars, rounded in
``spec.money`` alone. Adding a price book is one TOML file in ``prices/``.
"""
