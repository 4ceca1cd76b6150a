"""The FLAMe collection: human judgements as released, as examples in one text-to-text format, and their mixture."""
