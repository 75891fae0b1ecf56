package drivers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kipass/kipass/drivers"
)

// lineReader is a whole reader family in one type: codes come as lines of text from something that can be opened. A real
// one also ends its wait when ctx ends; the families below this folder show how.
type lineReader struct {
	name string
	open func() (io.Reader, error)
}

func (r lineReader) Run(ctx context.Context, emit func(drivers.Read)) error {
	device, err := r.open()
	if err != nil {
		return fmt.Errorf("%w: opening the line: %w", drivers.ErrUnavailable, err)
	}
	for lines := bufio.NewScanner(device); lines.Scan() && ctx.Err() == nil; {
		if data := lines.Bytes(); len(data) > 0 {
			data = data[:min(len(data), drivers.MaxFrame)]
			emit(drivers.Read{Data: append([]byte(nil), data...), At: time.Now(), Reader: r.name})
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: the line has ended", drivers.ErrLost)
}

func (r lineReader) Check() error   { return nil }
func (r lineReader) String() string { return fmt.Sprintf("line (%s)", r.name) }

// A reader delivers frames until its device is lost. Whoever supervises it then calls Run again.
func ExampleReader() {
	var reader drivers.Reader = lineReader{"front", func() (io.Reader, error) {
		return strings.NewReader("KIP1:FIRST\nKIP1:SECOND\n"), nil
	}}
	err := reader.Run(context.Background(), func(r drivers.Read) { fmt.Printf("%s: %s\n", r.Reader, r.Data) })
	fmt.Println(reader, "was lost:", errors.Is(err, drivers.ErrLost))
	// Output:
	// front: KIP1:FIRST
	// front: KIP1:SECOND
	// line (front) was lost: true
}

// A frame may hold a visitor's code, so a log gets no more of it than its length.
func ExampleRead_LogValue() {
	fmt.Println(drivers.Read{Data: []byte("KIP1:SECRET"), Reader: "front"}.LogValue())
	// Output: [reader=front bytes=11]
}

// display is an indicator that writes what it shows.
type display struct{ w io.Writer }

func (d display) Show(_ context.Context, c drivers.Cue) error {
	_, err := fmt.Fprintf(d.w, "%s for %v\n", c.Light, c.Hold)
	return err
}

func (d display) Halt() error {
	_, err := fmt.Fprintln(d.w, drivers.Dark)
	return err
}

func (d display) String() string { return "display" }

// An indicator is told what to show, never why: it knows no codes and no outcomes.
func ExampleIndicator() {
	var text strings.Builder
	var indicator drivers.Indicator = display{&text}
	if err := indicator.Show(context.Background(), drivers.Cue{Light: drivers.Green, Hold: 2 * time.Second}); err != nil {
		fmt.Println(err)
	}
	if err := indicator.Halt(); err != nil {
		fmt.Println(err)
	}
	fmt.Print(text.String())
	// Output:
	// green for 2s
	// dark
}
