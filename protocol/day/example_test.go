package day_test

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// A visit late in the evening by UTC belongs to the next day in Seoul, which is destroyed four weeks after its end.
func Example() {
	visited := time.Date(2020, 7, 1, 15, 0, 0, 0, time.UTC)
	d := day.Of(visited)
	fmt.Println(d, "begins", d.Start())
	fmt.Println("destroyed at", d.DestroyAt())
	fmt.Println("oldest day kept on 2020-07-30:", day.OldestKept(time.Date(2020, 7, 30, 12, 0, 0, 0, day.Seoul())))
	// Output:
	// 2020-07-02 begins 2020-07-02 00:00:00 +0900 KST
	// destroyed at 2020-07-31 00:00:00 +0900 KST
	// oldest day kept on 2020-07-30: 2020-07-02
}
