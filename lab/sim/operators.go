package sim

// ofOperators is what people do to the parties' data, with how often they do.
var ofOperators = []fault{
	{"server restored from a backup", 2, func(w *world, _ *gateParty) { w.restoreServer() }},
	{"issuer restored from a backup", 1, func(w *world, _ *gateParty) { w.restoreIssuer() }},
}
