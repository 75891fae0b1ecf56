package clitest

// vocabulary holds every flag of every program and what its value is called ("bool" for a switch). A flag that is not
// here, or whose value is called otherwise, is a second word for one thing, or one word for two things.
var vocabulary = map[string]string{
	// every program
	"config":    "FILE", // a config in TOML
	"data":      "DIR",  // where a program keeps its data
	"dir":       "DIR",  // where manual pages are written
	"help":      "bool",
	"listen":    "ADDRESS",               // TCP, HOST:PORT
	"log-level": "debug|info|warn|error", // of the log on standard error
	"output":    "FILE",                  // what the command makes
	"version":   "bool",                  // of the program

	// keys: files hold private ones, values are public
	"audit-key":   "KEY",  // checks an audit log
	"officer-key": "FILE", // signs and approves orders
	"root-key":    "FILE", // signs trust lists
	"secrets":     "DIR",  // a server's keys
	"trust-root":  "KEY",  // checks trust lists

	// servers
	"ca":            "FILE", // authority of a party's certificate
	"confirm-clock": "bool", // the clock is right: destroy what is held back
	"display":       "TEXT", // name for people
	"host":          "HOST", // in a server's certificate
	"issuer-ca":     "[NAME=]FILE",
	"name":          "NAME", // short name of an issuer
	"now":           "bool", // without waiting
	"rate":          "N",    // codes a minute for one holder
	"registration":  "token|open",
	"url":           "URL", // where a party is reached
	"visits":        "URL", // where the visit server is reached
	"visits-ca":     "FILE",

	// trust lists, orders, audit logs
	"audit-log":    "DIR",
	"case":         "NAME", // number of a case
	"facility":     "NAME",
	"format":       "csv|json",
	"from":         "TIME", // inclusive
	"json":         "bool", // print the result as JSON
	"list":         "bool", // print the entries
	"list-version": "N",    // of a trust list
	"officer":      "NAME",
	"purpose":      "TEXT",
	"save":         "FILE", // keep the checkpoint
	"since":        "FILE", // a checkpoint kept earlier
	"to":           "TIME", // exclusive
	"trust-list":   "FILE",
	"valid":        "DURATION", // from now on
	"yes":          "bool",     // do not ask

	// the lab
	"baud":     "N",    // bit/s
	"bin":      "DIR",  // the programs
	"clock":    "NAME", // a wall clock that is wrong
	"cycles":   "N",    // power cuts
	"days":     "N",    // of a simulation
	"disk":     "slow|stall|full|readonly|eio",
	"first":    "N",    // seed of several
	"parallel": "N",    // how many at once
	"seeds":    "N",    // how many
	"kernel":   "FILE", // the kernel that is started
	"kill":     "DURATION",
	"limit":    "DURATION", // after which nothing more is begun
	"logs":     "DIR",
	"only":     "NAME", // not all, but what is called so
	"outage":   "DURATION",
	"pace":     "DURATION",
	"reader":   "plain|marks|spaces|keepalive|mixed",
	"replugs":  "N",
	"scans":    "N",
	"seed":     "N", // repeats a run
	"sound":    "capture|device",
	"sources":  "DIR",
}
