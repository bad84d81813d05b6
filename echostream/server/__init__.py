"""A server of live translation: many streams over websockets on one network, and one page."""
