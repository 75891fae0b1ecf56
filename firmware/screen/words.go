package screen

import (
	"slices"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

var languages = sounds.Languages()

func known(language string) bool { return slices.Contains(languages, language) }

// words returns the venue's words for an outcome, or else those the voice says.
func (s *Screen) words(o visit.Outcome, language string) string {
	if own := s.opts.Words[language][o.String()]; own != "" {
		return own
	}
	return sounds.Words(o, language)
}

func (s *Screen) idle(language string) string {
	if own := s.opts.Words[language]["idle"]; own != "" {
		return own
	}
	return sounds.Idle(language)
}

// notes are the small words around the outcome, which the voice never says.
type noteKey int

const (
	notePaper noteKey = iota
	noteOnline
	noteOffline
	noteBacklog // has a place for the number
)

var notes = map[noteKey]map[string]string{
	notePaper: {
		"ko": "스마트폰이 없으면 수기명부를 작성해 주세요.",
		"en": "No smartphone? Please use the paper register.",
		"zh": "没有智能手机？请填写纸质登记簿。",
		"ja": "スマートフォンがない方は紙の名簿にご記入ください。",
		"vi": "Không có điện thoại thông minh? Vui lòng ghi vào sổ giấy.",
	},
	noteOnline: {"ko": "연결됨", "en": "Connected", "zh": "已连接", "ja": "接続中", "vi": "Đã kết nối"},
	noteOffline: {
		"ko": "오프라인 · 기록은 기기에 보관됩니다", "en": "Offline · visits are kept on this device", "zh": "离线 · 记录保存在本机",
		"ja": "オフライン · 記録は本機に保管されます", "vi": "Ngoại tuyến · dữ liệu được lưu trên thiết bị",
	},
	noteBacklog: {"ko": "전송 대기 %d건", "en": "%d waiting to be sent", "zh": "待发送 %d 条", "ja": "送信待ち %d 件", "vi": "%d bản ghi chờ gửi"},
}

func note(key noteKey, language string) string { return notes[key][language] }
