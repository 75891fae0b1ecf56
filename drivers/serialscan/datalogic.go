package serialscan

// Datalogic's single-letter host commands, which get no answer. Source: QuickScan QD2300 product reference guide p. 185
// (D disable, E enable, R reset, B beep). Gryphon readers end a code with CR LF by default. How it was checked: the bytes
// against that page, and against a simulator written from it; not against a device. Reset is not sent: it would take
// the reader away for seconds.
func datalogic() family {
	return family{bytes: Commands{Enable: []byte("E"), Disable: []byte("D")}}
}
