package framing_test

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// Bytes come in pieces of any size. A frame ends at a terminator, or when a wait for more was in vain for long enough.
func ExampleFramer() {
	f := framing.New(framing.Rule{Prefix: "#"})
	show := func(f framing.Frame) { fmt.Printf("%q, garbled: %v\n", f.Data, f.Garbled) }
	at := time.Unix(0, 0)
	f.Push(at, []byte("#]Q1KIP1:FI"), show) // what the reader adds and the AIM identifier are stripped
	f.Push(at, []byte("RST\r\n\x06\xf8\xe6?\rKIP1:SECOND"), show)
	f.Idle(at.Add(framing.DefaultGap), show)
	// Output:
	// "KIP1:FIRST", garbled: false
	// "\xf8\xe6?", garbled: true
	// "KIP1:SECOND", garbled: false
}
