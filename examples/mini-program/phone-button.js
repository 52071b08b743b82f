// The page with the paid button. Its back end is one of examples/python/web; BACK_END is yours.
const BACK_END = 'https://example.com'
const QUOTA_EXHAUSTED = 1400001
const DENIED = 103

const post = (path, data) =>
  new Promise((resolve, reject) =>
    wx.request({ url: BACK_END + path, method: 'POST', data, timeout: 5000, success: resolve, fail: reject }))

Page({
  data: { route: '', busy: false, store: '' },

  // Ask before the paid button is shown: without calls left, a tap would only fail.
  onLoad(query) {
    this.setData({ store: query.store || '' })
    wx.request({
      url: `${BACK_END}/phone-number/route?capability=quick&store=${encodeURIComponent(this.data.store)}`,
      timeout: 1000,
      success: ({ statusCode, data }) => this.setData({ route: statusCode === 200 ? data.route : 'wechat' }),
      // An unknown answer must keep nobody from signing up.
      fail: () => this.setData({ route: 'wechat' })
    })
  },

  // The moment of the charge: time and code are taken here, and the button is out of reach until it is settled,
  // because a second tap would be a second call.
  async onPhoneNumber({ detail }) {
    if (this.data.busy) return
    this.setData({ busy: true })
    const tap = {
      component: 'getPhoneNumber',
      tapped_at: new Date().toISOString(),
      scene: 'card_claim',
      store: this.data.store
    }
    try {
      if (detail.code) await this.signUp({ ...tap, code: detail.code })
      else await this.noteOutcome(tap, detail)
    } finally {
      this.setData({ busy: false })
    }
  },

  // The same code may be sent again: it stays one call, since the event's id is made of it.
  async signUp(tap) {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        const { statusCode } = await post('/phone-number', tap)
        if (statusCode === 200) return wx.showToast({ title: '已登录' })
        if (statusCode < 500) break
      } catch (error) {
        // No answer: it may have arrived.
      }
    }
    this.setData({ route: 'sms' })
  },

  // Denials and refusals cost nothing, and show where members are lost.
  async noteOutcome(tap, detail) {
    const errno = detail.errno || DENIED
    if (errno === QUOTA_EXHAUSTED) this.setData({ route: 'sms' })
    const name = `${Date.now()}-${Math.random().toString(36).slice(2)}`
    try {
      await post('/phone-number/outcome', { ...tap, errno, tap: name })
    } catch (error) {
      // A lost beacon is a gap in a curve, not a reason to bother the user.
    }
  }
})
