// Package sim runs whole gates, a visit server, issuers and a health authority in one process under synthetic time
// (testing/synctest): two months pass in seconds, while power is cut, disks fail, clocks are wrong and networks break
// as a seed draws it. Everything is the real thing – firmware, journal on bbolt, uplink, handlers, Pebble, wire encodings –
// but the readers, the lights, the clocks of the parties, and what carries their bytes.
//
// After every step and at the end it holds the system to its promises. One seed is one run: a seed that fails fails again,
// and its trace tells what happened.
//
// # What goes wrong
//
//   - Gates and visit server are restarted, killed, and cut off their power at any write (faults.go).
//   - Networks are down, slow, behind a portal; requests arrive twice, answers not at all.
//   - Disks are slow, full, or fail.
//   - A gate is without a network for weeks.
//   - Clocks of gates, server and issuers are off by seconds to decades, with and without NTP vouching for them.
//   - Visit server and issuers are restored from backups, an hour to a day old (backup.go).
//   - Stray files lie in every folder of every party; keys and data of a day are damaged (files.go).
//   - Trust lists are renewed, signing keys and sealing keys rotated; signing keys are stolen and revoked (keys.go).
//   - Certificates of gates run out within days, and have to be renewed through all of it (certificates.go).
//   - In every tenth run signing keys come to their end, and the disks of issuers are full now and then (issuers.go).
//   - A gate's disk is lost, a gate is copied and both work on, a gate's certificate is revoked (copies.go).
//
// # What is promised all the same
//
//   - Whoever is shown green is recorded, within 3 s; each presentation has one outcome; one code opens a gate once; an old
//     picture opens none (promises.go).
//   - Every green is stored exactly once – what a restored server lacks comes back from its gates –, and an inquiry finds
//     everybody who was there and nobody else, or says that it is not complete. Once all has been well for a day it is complete.
//   - Every fault that a gate shows, and every alarm of the servers, has a cause; every trouble that a gate or a server has to
//     tell of is told in time, for as long as it lasts (troubles.go, alarms.go, metrics.go); so is what an issuer has to tell: that
//     it issues no codes, that its keys end, damaged days, doubts about its clock, what is overdue (issuers.go).
//   - A code of a key that is revoked, and a gate that is, show no green once the gate can have heard of it. What a lost disk
//     had not delivered is told as missing; of two devices with one identity somebody is told, and neither loses anything.
//   - A gate that reaches its server has a certificate that is good, and is not taken for two.
//   - What lies among days and is none stops nothing and is shown.
//   - Nothing is destroyed early. Nothing is kept late: all disks are read as a thief would who has them all, with every key
//     that any of them holds (dead.go, carve.go).
//
// That each promise is really held is tried by breaking something on purpose (sabotage.go).
package sim
