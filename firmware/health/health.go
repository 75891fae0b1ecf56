// Package health keeps the gate's faults: coded conditions with words for people, for the visitor's screen, the
// technician's page and the heartbeat. Who finds a fault notes it on the board; a monitor looks at what notes none itself.
package health

import (
	"slices"
	"time"
)

// Code names a kind of fault. The set is closed; each has an entry in the table below.
type Code string

const (
	NotEnrolled     Code = "not-enrolled"     // no certificate, sealing key or trust list yet
	CertificateLost Code = "certificate-lost" // visitors are served, but nothing can be delivered until it is enrolled again
	Revoked         Code = "revoked"          // the server has withdrawn this terminal
	JournalFailed   Code = "journal-failed"   // an append did not become durable
	JournalReplaced Code = "journal-replaced" // a damaged journal was set aside and a fresh one begun
	JournalFull     Code = "journal-full"     // the floor of free disk space is reached
	Quarantined     Code = "quarantined"      // the server refused records for good
	Undelivered     Code = "undelivered"      // records were destroyed after 28 days without having been delivered
	Overdue         Code = "overdue"          // something is kept past the time at which it should have been destroyed
	ReaderLost      Code = "reader-lost"      // a reader is absent or was unplugged
	ReaderGarbled   Code = "reader-garbled"   // bytes arrive but no code: wrong baud rate or keyboard country
	ReaderIntruded  Code = "reader-intruded"  // a program that is not to show codes tried to
	IndicatorFailed Code = "indicator-failed" // a light, voice or relay does not work
	ClockUntrusted  Code = "clock-untrusted"  // the gate does not know the time
	ClockDoubted    Code = "clock-doubted"    // codes or a server contradict a clock that is believed all the same
	AllRefused      Code = "all-refused"      // for a minute no code that was shown has been admitted
	DateWrong       Code = "date-wrong"       // the server cannot be reached because of the device's date
	TrustStale      Code = "trust-stale"      // the trust list is past its expiry
	Offline         Code = "offline"          // the server has not been reached for a while
	RecordBlocked   Code = "record-blocked"   // the server does not understand a record; those behind it wait
	JournalJumped   Code = "journal-jumped"   // the server saw a gap, a clone or a roll-back of the journal
	ClassicExchange Code = "classic-exchange" // connections to the server do without a post-quantum key exchange

	ReplaysForgotten Code = "replays-forgotten" // codes admitted lately would not be known after a restart
)

// Severity orders faults by what they mean to a visitor.
type Severity uint8

const (
	Notice   Severity = iota // worth knowing; nothing is lost
	Degraded                 // visitors are served with less than usual
	Down                     // the gate is out of service
)

// String returns "notice", "degraded" or "down".
func (s Severity) String() string { return [...]string{"notice", "degraded", "down"}[s] }

// Kind is what is known of a code.
type Kind struct {
	Severity Severity
	Korean   string // one sentence for the technician
	English  string
	Grace    time.Duration // how long it must last before it is shown
}

var kinds = map[Code]Kind{
	NotEnrolled:      {Down, "등록되지 않은 기기입니다. 등록 코드를 확인해 주세요.", "This gate is not enrolled. Check the enrolment code.", 0},
	CertificateLost:  {Degraded, "기기 인증서가 없거나 서버가 알지 못해 기록을 전송하지 못합니다. 새 등록 코드가 필요합니다.", "The certificate is lost or unknown to the server: visits are kept but not delivered. A new enrolment code is needed.", 0},
	Revoked:          {Down, "사용이 중지된 기기입니다. 시설 관리자에게 문의해 주세요.", "This gate has been revoked. Ask the facility's manager.", 0},
	JournalFailed:    {Down, "방문 기록을 저장할 수 없습니다.", "Visits cannot be written to the journal.", 0},
	JournalReplaced:  {Notice, "손상된 기록 파일을 보관하고 새로 시작했습니다.", "A damaged journal was set aside and a fresh one begun.", 0},
	JournalFull:      {Down, "저장 공간이 부족합니다.", "The disk is too full to record visits.", 0},
	Quarantined:      {Notice, "서버가 받지 않은 기록이 있습니다.", "The server has refused some records; they are kept in quarantine.", 0},
	Undelivered:      {Degraded, "28일 동안 전송하지 못한 기록을 파기했습니다.", "Records older than 28 days were destroyed undelivered.", 0},
	Overdue:          {Degraded, "파기 기한이 지난 기록이 기기에 남아 있습니다. 기기의 시간과 저장 장치를 확인해 주세요.", "Records are kept past the time at which they should be destroyed. Check the gate's time and its disk.", 0},
	ReaderLost:       {Degraded, "스캐너를 찾을 수 없습니다. 연결을 확인해 주세요.", "A reader is missing. Check its cable.", time.Second},
	ReaderGarbled:    {Degraded, "스캐너에서 코드가 깨져 들어옵니다. 설정을 확인해 주세요.", "A reader delivers damaged codes. Check its settings.", 0},
	ReaderIntruded:   {Degraded, "스캐너가 아닌 프로그램이 코드를 보내려 해서 차단했습니다.", "A program that is not the scanner's tried to show codes and was turned away.", 0},
	IndicatorFailed:  {Degraded, "음성 또는 표시 장치가 작동하지 않습니다.", "A voice, light or relay does not work.", time.Second},
	ClockUntrusted:   {Degraded, "기기의 시간을 확인할 수 없습니다.", "The gate does not know the time.", 0},
	ClockDoubted:     {Degraded, "기기의 시간이 다른 곳에서 확인된 시간과 다릅니다. 시간 서버를 확인해 주세요.", "Codes or a server contradict this gate's clock. Check its time server.", 0},
	AllRefused:       {Degraded, "1분 넘게 모든 코드가 거절되었습니다. 기기의 시간과 서버 연결을 확인해 주세요.", "Every code has been refused for more than a minute. Check the gate's time and its connection.", 0},
	DateWrong:        {Degraded, "이 기기의 날짜가 틀립니다. 날짜와 시간을 맞춰 주세요.", "This device's date is wrong. Set its date and time.", 10 * time.Second},
	TrustStale:       {Degraded, "기관 목록이 만료되었습니다.", "The trust list is past its expiry.", 0},
	Offline:          {Notice, "서버에 연결되지 않았습니다. 기록은 기기에 보관됩니다.", "The server is not reached. Visits are kept on the device.", 30 * time.Second},
	RecordBlocked:    {Degraded, "서버가 이해하지 못하는 기록이 있어 전송이 멈췄습니다.", "The server does not understand a record; those behind it wait. Update the gate or the server.", 0},
	ReplaysForgotten: {Notice, "재시작하면 방금 사용한 코드를 기억하지 못합니다. 메모리 폴더를 확인해 주세요.", "After a restart a code just used would be let in again. Check the folder in memory.", 0},
	ClassicExchange:  {Notice, "중간 네트워크 장비가 양자내성 연결을 막아 그것 없이 서버에 연결합니다. 네트워크 관리자에게 문의해 주세요.", "Something on the network cuts off post-quantum handshakes; the server is reached without. Ask the network's administrator.", 5 * time.Minute},
	JournalJumped:    {Notice, "서버가 기록 순서의 이상을 발견했습니다.", "The server saw the journal jump: a restored or copied device?", 0},
}

// Codes lists every code in alphabetical order.
func Codes() []Code {
	codes := make([]Code, 0, len(kinds))
	for c := range kinds {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	return codes
}

// KindOf returns what is known of c.
func KindOf(c Code) Kind { return kinds[c] }
