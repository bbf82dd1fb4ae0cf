"""Messages that sender and receiver exchange beside motion (docs/protocol.md); knows neither of them."""
