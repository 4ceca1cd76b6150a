"""The FLAMe collection: reads released human judgements as examples in one text-to-text format, and mixes them."""
